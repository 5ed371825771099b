"""The Keras 3 pipeline behind the served model: explore, train, export, evaluate (`python -m training`)."""
