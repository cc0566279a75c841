"""What is done to detections after the network, without it: NMS, voting, fusion."""
