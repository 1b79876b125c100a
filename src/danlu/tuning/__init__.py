"""`danlu tune`: search for settings by many trainings, then train the best ones again and choose by their mean."""
