"""The fairseq plugin: task, model, criterion, optimizer, and the patches of fairseq that they need."""
