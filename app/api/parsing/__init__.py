"""Request parsing: every input form of the API becomes the bytes of image files and a set of options."""
