"""What runs the course: the command ``course`` and all machinery behind it."""
