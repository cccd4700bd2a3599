"""What a study has come to."""
