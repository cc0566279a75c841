"""What the commands do, a room each: plan, hooks into the loop over trials, page."""
