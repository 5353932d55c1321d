"""What comes back: opens, clicks, unsubscribes, receipts, orders handed in, and which message an order followed."""
