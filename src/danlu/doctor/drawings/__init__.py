"""Charts of a finding's evidence: functions from ledger and finding to a figure; each FindingSpec names its own."""
