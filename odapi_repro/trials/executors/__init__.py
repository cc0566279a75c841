"""What runs trials: in processes of this machine."""
