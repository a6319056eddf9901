"""What changed since training: inputs, predictions, and how well they came true."""
