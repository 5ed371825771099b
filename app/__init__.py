"""fer-serve: an HTTP service that finds faces in photographs and names their apparent expression."""
