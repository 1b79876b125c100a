"""The words of the findings, in English and Chinese: one file a family, code -> language -> (title, cause, remedy)."""
