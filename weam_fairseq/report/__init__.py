"""weam-report: pages, tables and plots of scores and studies."""
