"""`danlu live`: a page that follows runs while they train, served by a process of its own."""
