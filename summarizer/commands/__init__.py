"""What the scripts run: each command wires parts together, then lets them work."""
