"""What Prometheus and Grafana make of a Synapse's metrics."""
