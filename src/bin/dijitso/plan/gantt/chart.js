// A chart: rows of bars below an axis of time. It is drawn on a canvas that stays in place while its box scrolls,
// so that only what is seen is drawn.
class Chart {
  constructor(id, lines, marks, isRan) {
    this.scroller = byId(id);
    this.canvas = this.scroller.querySelector("canvas");
    this.spacer = this.scroller.querySelector("div");
    this.pen = this.canvas.getContext("2d");
    this.lines = lines;
    this.marks = marks;
    this.isRan = isRan;
    this.head = AXIS + LANE * marks.length;
    this.height = this.head + lines.reduce((sum, line) => Math.max(sum, line.y + line.height), 0) + 4;
    this.gutter = 8;
    this.scroller.addEventListener("scroll", redraw);
    this.listen();
  }
  x(ms) { return this.gutter + (ms - shown.from) * this.scale; }
  ms(x) { return shown.from + (x - this.gutter) / this.scale; }
  resize() {
    const most = Math.max(200, innerHeight * 0.8);
    this.view = Math.ceil(Math.min(this.height, most));
    this.width = this.scroller.clientWidth;
    if (!this.width) return 0;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.view * ratio);
    this.canvas.style.height = this.view + "px";
    this.spacer.style.height = Math.max(0, this.height - this.view) + "px";
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    this.lines.forEach((line) => { if (line.names) line.name = line.names[this.width < 600 ? 1 : 0]; });
    const names = this.lines.map((line) => line.name).filter(Boolean);
    const widest = names.reduce((most, name) => Math.max(most, this.pen.measureText(name).width), 0);
    return Math.min(widest + 16, this.width / 4);
  }
  draw() {
    if (!this.width) return;
    const pen = this.pen;
    this.scale = (this.width - this.gutter - 10) / (shown.to - shown.from);
    pen.clearRect(0, 0, this.width, this.view);
    pen.fillStyle = colors.page;
    pen.fillRect(0, 0, this.width, this.view);
    this.drawAxis(true);
    const top = this.scroller.scrollTop - this.head;
    for (const line of this.lines) {
      const y = line.y - top;
      if (y + line.height < this.head || y > this.view) continue;
      if (line.bars) this.drawRow(line, y); else this.drawHost(line, y);
    }
    this.drawBreaks();
    this.drawAxis(false);
  }
  drawHost(line, y) {
    const pen = this.pen;
    pen.fillStyle = colors.area;
    pen.fillRect(0, y, this.width, line.height);
    pen.fillStyle = colors.ink;
    pen.font = "600 12px system-ui, 'DejaVu Sans', sans-serif";
    pen.fillText(fitted(pen, line.text, this.width - 16), 8, y + 15);
    pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  }
  drawRow(line, y) {
    const pen = this.pen, right = this.width;
    if (line.name) {
      pen.fillStyle = colors.soft;
      pen.fillText(fitted(pen, line.name, this.gutter - 12), 8, y + line.height / 2 + 4);
    }
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, this.head, right - this.gutter, this.view - this.head);
    pen.clip();
    let drawn = -1;
    const failed = [];
    const gap = line.height >= 8 ? 2 : 0, h = line.height - gap, top = y + gap / 2;
    for (let at = firstAfter(line.bars, shown.from); at < line.bars.length; at++) {
      const bar = line.bars[at];
      if (bar.from > shown.to) break;
      const x = this.x(bar.from), end = Math.max(this.x(bar.to), x + 1);
      // Many short bars on one pixel are one.
      if (end < drawn + 0.5 && !bar.node[CRITICAL] && bar.node[STATE] !== "failed") continue;
      drawn = end;
      pen.globalAlpha = matches && !matches.has(bar.node) ? 0.15 : 1;
      this.drawBar(bar, x, end, top, h);
      if (bar.node[STATE] === "failed" && this.isRan) failed.push([x, end]);
    }
    pen.globalAlpha = 1;
    failed.forEach(([x, end]) => this.drawFailure(x, end, top, h));
    pen.restore();
  }
  drawBar(bar, x, end, y, h) {
    const pen = this.pen, wide = end - x;
    if (wide < 3) {
      pen.fillStyle = paint(longest(bar.parts));
      pen.fillRect(x, y, wide, h);
    } else {
      let at = x;
      for (let part = 0; part < bar.parts.length; part += 2) {
        const next = Math.min(at + bar.parts[part + 1] * this.scale, end);
        pen.fillStyle = paint(bar.parts[part]);
        pen.fillRect(at, y, (part + 2 < bar.parts.length ? next : end) - at, h);
        at = next;
      }
      if (h >= 6) {
        pen.strokeStyle = colors.edge;
        pen.lineWidth = 1;
        pen.strokeRect(x + 0.5, y + 0.5, wide - 1, h - 1);
      }
    }
    if (h >= 14 && wide > 26) this.drawLabel(bar, Math.max(x, this.gutter), Math.min(end, this.width), y + h / 2 + 3);
    if (bar.node[CRITICAL]) {
      pen.fillStyle = colors.ink;
      const thick = Math.max(1, Math.min(4, h / 4));
      pen.fillRect(x, y + h - thick, wide, thick);
    }
  }
  drawFailure(x, end, y, h) {
    const pen = this.pen;
    pen.strokeStyle = colors.bad;
    pen.lineWidth = 2;
    pen.strokeRect(x + 1, y + 1, Math.max(end - x - 2, 1), h - 2);
    // A cross beside a bar that has no room for it.
    const left = end - x > 18 ? end - 14 : end + 1, middle = y + h / 2;
    pen.fillStyle = colors.page;
    pen.fillRect(left - 1, middle - 6, 12, 12);
    pen.beginPath();
    pen.moveTo(left + 1, middle - 4); pen.lineTo(left + 9, middle + 4);
    pen.moveTo(left + 9, middle - 4); pen.lineTo(left + 1, middle + 4);
    pen.stroke();
  }
  drawLabel(bar, x, end, y) {
    const pen = this.pen, room = end - x - 8 - (bar.node[STATE] === "failed" && this.isRan ? 14 : 0);
    const text = fitted(pen, bar.node[LABEL], room);
    if (text.length < 3 && text !== bar.node[LABEL]) return;
    // Phases have light colours, in dark mode, too; a halo is for hatches.
    if (bar.parts.some((phase, at) => at % 2 === 0 && isWait(phase))) {
      pen.lineJoin = "round";
      pen.lineWidth = 3;
      pen.strokeStyle = "rgba(255, 255, 255, .6)";
      pen.strokeText(text, x + 4, y);
    }
    pen.fillStyle = "#101214";
    pen.fillText(text, x + 4, y);
  }
  drawBreaks() {
    const pen = this.pen;
    if (!this.isRan) return;
    for (const [at, seconds] of data.breaks) {
      const x = this.x(at), end = this.x(at + data.gap);
      if (end < this.gutter || x > this.width) continue;
      pen.fillStyle = colors.area;
      pen.fillRect(Math.max(x, this.gutter), this.head, end - Math.max(x, this.gutter), this.view);
      pen.save();
      pen.translate((x + end) / 2 + 4, this.view - 6);
      pen.rotate(-Math.PI / 2);
      pen.fillStyle = colors.soft;
      if (end - x > 12) pen.fillText(fitted(pen, age(seconds) + " later", this.view - this.head - 8), 0, 0);
      pen.restore();
    }
  }
  drawAxis(grid) {
    const pen = this.pen, span = shown.to - shown.from;
    const step = tickStep(span, Math.max(2, (this.width - this.gutter) / 75));
    if (!grid) {
      pen.fillStyle = colors.page;
      pen.fillRect(0, 0, this.width, this.head);
      pen.fillStyle = colors.line;
      pen.fillRect(0, this.head - 1, this.width, 1);
    }
    for (let ms = Math.ceil(shown.from / step) * step; ms <= shown.to; ms += step) {
      const x = Math.round(this.x(ms));
      pen.fillStyle = grid ? colors.grid : colors.line;
      pen.fillRect(x, grid ? this.head : AXIS - 5, 1, grid ? this.view : 5);
      if (grid) continue;
      const text = tick(ms, step), wide = pen.measureText(text).width;
      pen.fillStyle = colors.soft;
      pen.fillText(text, Math.min(Math.max(x - wide / 2, 4), this.width - wide - 4), AXIS - 8);
    }
    if (!grid) this.marks.forEach((mark, lane) => this.drawMark(mark, AXIS + lane * LANE));
  }
  drawMark([ms, text], y) {
    const pen = this.pen, x = this.x(ms);
    if (x < this.gutter - 1 || x > this.width) return;
    pen.strokeStyle = colors.ink;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.7;
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(Math.round(x) - 0.5, y);
    pen.lineTo(Math.round(x) - 0.5, this.view);
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    const fits = fitted(pen, text, this.width - 16), wide = pen.measureText(fits).width;
    pen.fillStyle = colors.ink;
    pen.fillText(fits, x + 5 + wide < this.width ? x + 5 : Math.max(8, x - wide - 5), y + 12);
  }
  // Returns the bar at a place in the chart, with some room for fingers.
  at(x, y, room) {
    const top = y + this.scroller.scrollTop - this.head;
    if (y < this.head || x < this.gutter) return null;
    const ms = this.ms(x), near = room / this.scale;
    // Rows of less than a pixel: the nearest bar of several.
    const lines = this.lines.filter((line) => line.bars && top >= line.y - 0.5 && top < line.y + line.height + 0.5);
    let best = null, distance = Infinity;
    for (const line of lines) {
      for (let at = Math.max(0, firstAfter(line.bars, ms - near)); at < line.bars.length; at++) {
        const bar = line.bars[at];
        if (bar.from > ms + near) break;
        const away = Math.max(bar.from - ms, ms - bar.to, 0);
        if (away <= near && away < distance) [best, distance] = [bar, away];
      }
    }
    return best;
  }
  listen() {
    const pointers = new Map();
    let moved = 0;
    const place = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, place(event));
      moved = 0;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId), now = place(event);
      if (!before) {
        if (event.pointerType === "mouse" && !pinned) show(this.at(...now, 3), event, this);
        return;
      }
      const others = [...pointers.keys()].filter((id) => id !== event.pointerId);
      if (others.length === 1) {
        const fixed = pointers.get(others[0])[0];
        const [was, is] = [Math.abs(before[0] - fixed), Math.abs(now[0] - fixed)];
        if (was > 8 && is > 8) zoom(was / is, this.ms(fixed));
      } else {
        move((before[0] - now[0]) / this.scale);
      }
      moved += Math.abs(before[0] - now[0]) + Math.abs(before[1] - now[1]);
      if (moved > 6) this.canvas.classList.add("moving");
      pointers.set(event.pointerId, now);
    });
    const up = (event) => {
      pointers.delete(event.pointerId);
      this.canvas.classList.remove("moving");
    };
    this.canvas.addEventListener("pointerup", (event) => {
      if (pointers.has(event.pointerId) && moved <= 6) {
        const bar = this.at(...place(event), event.pointerType === "mouse" ? 3 : 12);
        pinned = bar;
        show(bar, event, this);
      }
      up(event);
    });
    this.canvas.addEventListener("pointercancel", up);
    this.canvas.addEventListener("pointerleave", () => { if (!pinned) show(null); });
    this.canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY / 300), this.ms(place(event)[0]));
      else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX / this.scale);
      else if (event.shiftKey) move(event.deltaY / this.scale);
      else return;
      event.preventDefault();
    }, { passive: false });
    this.canvas.addEventListener("dblclick", (event) => zoom(0.4, this.ms(place(event)[0])));
  }
}
