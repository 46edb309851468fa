"""What fairseq registers (task, model, criterion, optimizer), and the fixes for fairseq that they need."""
