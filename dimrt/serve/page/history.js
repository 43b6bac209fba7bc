// The states of a photo: which edits each has ({ text, area }) and what came of them. State 0 is the photo itself.

export class History {
  constructor() {
    this.states = [{ edits: [] }];
    this.at = 0;
  }

  get current() {
    return this.states[this.at];
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.states.length - 1;
  }

  /** Add a state after the current one and go there; what could be redone until now is gone. */
  push(state) {
    this.states.splice(this.at + 1, Infinity, state);
    this.at += 1;
  }

  undo() {
    if (this.canUndo) this.at -= 1;
    return this.current;
  }

  redo() {
    if (this.canRedo) this.at += 1;
    return this.current;
  }
}
