"""What people read: tables, claims, figures, and the folder that holds them."""
