"""Extension of schemathesis, which loads the module that SCHEMATHESIS_HOOKS names."""

import schemathesis

# The media type of Amazon's JSON protocol.
schemathesis.serializer.alias("application/x-amz-json-1.1", "application/json")
