"""The service's pipeline on files, without HTTP: `python -m app.cli predict photo.jpg folder/`."""
