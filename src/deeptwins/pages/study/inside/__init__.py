"""What is inside the nets, on a study's page."""
