"""What in a song raises or lowers its rating: attributions in time and frequency, and changes that were tried."""
