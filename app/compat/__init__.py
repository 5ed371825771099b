"""Other services' HTTP interfaces, spoken by this one: a module for each dialect.

Each translates to and from the domain's types and answers errors in its own shape. Nothing here knows pixels, and no
other part of the service knows a dialect. Off with FER_COMPAT=false.
"""
