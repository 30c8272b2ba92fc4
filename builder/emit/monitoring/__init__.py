"""What Prometheus reads of the operator and its drivers, when it calls, and what dashboards show. All of it is pure."""
