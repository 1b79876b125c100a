"""Images with objects: collected from annotation files, checked, and assembled to a Dataset."""
