"""The documentation site: the pages of docs/ and pages made from the entries of danlu (`python -m tools.docs_site`)."""
