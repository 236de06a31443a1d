"""What the page shows: SQL over the lake and the JSON that comes of it. One function a panel; times are seconds."""
