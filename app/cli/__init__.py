"""Command line that classifies image files without HTTP: `python -m app.cli predict photo.jpg folder/`."""
