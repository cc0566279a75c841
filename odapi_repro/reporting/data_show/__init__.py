"""What `data show` draws and says: contact sheets, histograms, anchors, README.md and show.json."""
