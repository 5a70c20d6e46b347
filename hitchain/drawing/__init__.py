"""Pages that open offline, and what stands in them: charts, pictures of sound, sound. Knows nothing of any room."""
