"""What proves a finding, as a chart: functions of ledger and finding; table.py says which for which code."""
