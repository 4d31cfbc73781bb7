"""What the course is installed from: lock files, their audit, licences."""
