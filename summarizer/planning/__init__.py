"""A training and devices for it in; what it would take, before anybody pays for them, out."""
