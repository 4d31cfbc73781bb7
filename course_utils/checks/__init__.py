"""What each exercise must satisfy: one module a lesson, and ``core`` for all."""
