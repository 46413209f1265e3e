// Places that are proposed, outlined on their tiles; those of an image are accepted or refused together.
const answering = (name, tell) => {
  const box = make("div", "answers");
  box.append(button("✓", `Accept the outlined places of ${name} (key Y)`, () => tell("accept")),
             button("✗", `Refuse the outlined places of ${name} (key N)`, () => tell("refuse")));
  box.hidden = true;
  return box;
};
// The border between what is in a region of runs and what is not, in cells.
const outline = (runs, side) => {
  const inside = new Uint8Array(side * side), path = new Path2D();
  for (const [first, length] of runs) inside.fill(1, first, first + length);
  const at = (x, y) => x >= 0 && y >= 0 && x < side && y < side && inside[y * side + x] === 1;
  for (let y = 0; y <= side; y++) for (let x = 0; x <= side; x++) {
    if (at(x, y) !== at(x, y - 1) && x < side) { path.moveTo(x, y); path.lineTo(x + 1, y); }
    if (at(x, y) !== at(x - 1, y) && y < side) { path.moveTo(x, y); path.lineTo(x, y + 1); }
  }
  return path;
};
// Black under white dashes: seen on every image, and unlike the marks of every role.
const trace = (paper, path, scale) => {
  paper.save(); paper.scale(scale, scale); paper.lineCap = "square";
  paper.lineWidth = 6 / scale; paper.strokeStyle = "#000"; paper.stroke(path);
  paper.lineWidth = 3 / scale; paper.strokeStyle = "#fff"; paper.setLineDash([9 / scale, 7 / scale]); paper.stroke(path);
  paper.restore();
};
// What the list of proposals is told, which asks the server.
const answered = named({ proposalAnswer: 0 }), walled = named({ proposalWall: 0 });
const tellAll = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
