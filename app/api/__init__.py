"""HTTP: admission, the three request forms, routes, wire models, errors. Nothing here knows pixels."""
