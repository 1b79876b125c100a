"""Classes given by folders or by file names, and the reasons why folders are no classes."""
