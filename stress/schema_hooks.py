"""What schemathesis is told beside the document: SCHEMATHESIS_HOOKS names this module."""

import schemathesis

# Amazon's own name for JSON.
schemathesis.serializer.alias("application/x-amz-json-1.1", "application/json")
