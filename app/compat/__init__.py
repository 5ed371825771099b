"""HTTP interfaces of other services: DeepFace, Amazon Rekognition, Azure Face and the Open Inference Protocol.

Each module translates one interface to and from the types of `app.domain` and answers errors in the format of that
interface. The package depends on `app.api`; no module of `app.api` imports it. `FER_COMPAT=false` disables all of it.
"""
