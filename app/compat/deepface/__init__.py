"""`POST /analyze` with the requests and answers of DeepFace's REST API, for emotions.

Reference: serengil/deepface, `deepface/api/src/modules/core/routes.py` and `deepface/modules/demography.py` (0.0.9x).
docs/migrating.md lists the differences.
"""

from app.compat.deepface.routes import router

__all__ = ["router"]
