"""The JSON documents of the native API."""
