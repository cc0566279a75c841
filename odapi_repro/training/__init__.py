"""The child process that trains: compatibility, seeds, devices, the loop; TensorFlow lives here."""
