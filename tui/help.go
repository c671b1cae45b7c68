package tui

// drawHelp lays the keys over the screen. It is made from the list that the
// keys go through.
func (m model) drawHelp(c *canvas) {
	type line struct{ key, text string }
	var lines []line
	for _, a := range m.applicable() {
		lines = append(lines, line{a.Key, a.Label})
	}
	keys, texts := 0, 0
	for _, k := range m.commands {
		h := k.binding.Help()
		lines = append(lines, line{h.Key, h.Desc})
	}
	for _, l := range lines {
		keys, texts = max(keys, width(l.key)), max(texts, width(l.text))
	}
	columns := 1
	if len(lines)+2 > c.h-2 {
		columns = 2
	}
	high := (len(lines) + columns - 1) / columns
	each := min(keys+2+texts, (c.w-3)/columns-1)
	r := rect{w: min(columns*(each+1)+3, c.w), h: min(high+2, c.h)}
	r.x, r.y = (c.w-r.w)/2, (c.h-r.h)/2
	c.clear(r)
	in := c.box(r, "keys", []span{{"any key closes this", of(faint)}}, true)
	for i, l := range lines {
		x, y := in.x+1+i/high*(each+1), in.y+i%high
		if y >= in.y+in.h {
			continue
		}
		c.put(x, y, keys, l.key, of(moving, bold))
		c.put(x+keys+2, y, each-keys-2, l.text, of(plain))
	}
}
