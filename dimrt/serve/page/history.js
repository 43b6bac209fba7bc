// The states of a photo: which instructions each has and what came of them. State 0 is the photo itself.

export class History {
  constructor() {
    this.states = [{ instructions: [] }];
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

  /** Add a state after the current one and go there; returns the states that could be redone until now. */
  push(state) {
    const gone = this.states.splice(this.at + 1);
    this.states.push(state);
    this.at += 1;
    return gone;
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
