"""What is measured of a trained network, item by item of the test split."""
