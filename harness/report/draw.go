package report

import (
	"fmt"
	"html"
	"strconv"
	"strings"
)

// Size of a chart and of what stands around its plot, in user units.
const (
	chartWidth   = 640.0
	chartHeight  = 250.0
	legendHeight = 22.0
	textSize     = 10.0
	tickLength   = 4.0
	rightMargin  = 10.0
	bottomMargin = 34.0
)

// The colours of a chart on paper. In the HTML file each of them stands for a
// CSS variable, so that a dark page has dark charts.
var (
	paper  = colour{"#FFFFFF", "none"}
	ink    = colour{"#1B1F24", "var(--ink)"}
	rule   = colour{"#D8DEE4", "var(--rule)"}
	shade  = colour{"#F0F4F8", "var(--shade)"}
	curves = [latenciesMax]string{"#0067B1", "#C84E00", "#007A5A", "#9C2F86", "#8A6D00", "#00808F", "#B3123C", "#5B5B5B"}
)

type colour struct{ file, page string }

func curveColour(n int) colour {
	n %= len(curves)
	return colour{curves[n], "var(--c" + strconv.Itoa(n) + ")"}
}

// Curves differ by their dashes as well as by colour.
var dashes = [4]string{"", "6 2", "2 2", "8 2 2 2"}

// svgFile is the chart as a file of its own, on white.
func (c *chart) svgFile() []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + c.svg("chart-"+c.name, false))
}

// svgInline is the chart for a page that defines the colours. The id must be
// unique there.
func (c *chart) svgInline(id string) string { return c.svg(id, true) }

// canvas is SVG being written. Lengths are user units, y grows downwards.
type canvas struct {
	strings.Builder
	inline bool
	// The plot's rectangle, and the values at its edges.
	left, top, right, bottom float64
	x, y                     scaled
}

// svg draws the chart: background to foreground.
func (c *chart) svg(id string, inline bool) string {
	v := &canvas{inline: inline, top: legendHeight + 4, right: chartWidth - rightMargin, bottom: chartHeight - bottomMargin}
	v.x, v.y = c.ranged(c.x, func(p point) float64 { return p.X }), c.ranged(c.y, func(p point) float64 { return p.Y })
	for _, s := range c.stages { // every chart over time has the same axis
		v.x.high = max(v.x.high, s.to)
	}
	if c.y.scale == linear {
		v.y.high *= 1.12 // room for the names of the stages
	}
	xTicks, yTicks := v.x.ticks(8), v.y.ticks(5)
	widest := 0.0
	for _, t := range yTicks {
		widest = max(widest, textWidth(t.label, textSize-1))
	}
	v.left = textSize + 8 + widest + tickLength + 3
	fmt.Fprintf(v, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%[1]g" height="%[2]g" role="img" aria-labelledby="%[3]s" `+
		`font-family="Helvetica, Arial, 'Liberation Sans', sans-serif"><title id="%[3]s">%[4]s</title>`+"\n",
		chartWidth, chartHeight, html.EscapeString(id), html.EscapeString(c.title))
	if !inline {
		v.box(0, 0, chartWidth, chartHeight, paper)
	}
	v.bands(c.stages)
	v.grid(xTicks, yTicks)
	for i, l := range c.lines {
		v.curve(l, i)
	}
	v.axes(c, xTicks, yTicks)
	v.legend(c.lines)
	v.WriteString("</svg>\n")
	return v.String()
}

func (v *canvas) paint(c colour) string {
	if v.inline {
		return c.page
	}
	return c.file
}

// length writes a coordinate: two digits are finer than any screen.
func length(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(f, 'f', 2, 64), "0"), ".")
}

func (v *canvas) box(left, top, right, bottom float64, fill colour) {
	fmt.Fprintf(v, `<rect x="%s" y="%s" width="%s" height="%s" fill="%s"/>`+"\n", length(left), length(top), length(right-left), length(bottom-top), v.paint(fill))
}

func (v *canvas) stroke(x1, y1, x2, y2 float64, c colour) {
	fmt.Fprintf(v, `<path d="M%s %sL%s %s" stroke="%s"/>`+"\n", length(x1), length(y1), length(x2), length(y2), v.paint(c))
}

// write puts a text: anchor is start, middle or end.
func (v *canvas) write(x, y, size float64, anchor, text, more string) {
	fmt.Fprintf(v, `<text x="%s" y="%s" font-size="%s" text-anchor="%s" fill="%s"%s>%s</text>`+"\n",
		length(x), length(y), length(size), anchor, v.paint(ink), more, html.EscapeString(text))
}

func (v *canvas) placeX(value float64) float64 { return v.left + v.x.share(value)*(v.right-v.left) }
func (v *canvas) placeY(value float64) float64 { return v.bottom - v.y.share(value)*(v.bottom-v.top) }

// bands marks the stages: measure shaded, each named where its name fits.
func (v *canvas) bands(stages []span) {
	for _, s := range stages {
		from, to := max(v.placeX(s.from), v.left), min(v.placeX(s.to), v.right)
		if !(from <= to) { // outside of the axis
			continue
		}
		if s.name == "measure" {
			v.box(from, v.top, to, v.bottom, shade)
		}
		v.stroke(from, v.top, from, v.bottom, rule)
		if name := clean(s.name, 20); textWidth(name, textSize-2)+4 < to-from {
			v.write(from+2, v.top+textSize-1, textSize-2, "start", name, "")
		}
	}
}

// grid draws a line at each tick that has a label.
func (v *canvas) grid(xTicks, yTicks []tick) {
	for _, t := range xTicks {
		if t.label != "" {
			v.stroke(v.placeX(t.value), v.top, v.placeX(t.value), v.bottom, rule)
		}
	}
	for _, t := range yTicks {
		if t.label != "" {
			v.stroke(v.left, v.placeY(t.value), v.right, v.placeY(t.value), rule)
		}
	}
}

// axes draws ticks, their labels where they don't touch, and names.
func (v *canvas) axes(c *chart, xTicks, yTicks []tick) {
	v.stroke(v.left, v.bottom, v.right, v.bottom, ink)
	v.stroke(v.left, v.top, v.left, v.bottom, ink)
	free := 0.0
	for _, t := range xTicks {
		at, half := v.placeX(t.value), textWidth(t.label, textSize-1)/2
		v.stroke(at, v.bottom, at, v.bottom+t.length(), ink)
		if t.label != "" && at-half >= free {
			v.write(at, v.bottom+tickLength+textSize, textSize-1, "middle", t.label, "")
			free = at + half + 4
		}
	}
	free = chartHeight
	for _, t := range yTicks {
		at := v.placeY(t.value)
		v.stroke(v.left-t.length(), at, v.left, at, ink)
		if t.label != "" && at+textSize/2 <= free {
			v.write(v.left-tickLength-2, at+textSize/3, textSize-1, "end", t.label, "")
			free = at - textSize/2
		}
	}
	v.write((v.left+v.right)/2, chartHeight-5, textSize, "middle", c.x.label, "")
	middle := (v.top + v.bottom) / 2
	v.write(textSize+1, middle, textSize, "middle", c.y.label, fmt.Sprintf(` transform="rotate(-90 %s %s)"`, length(textSize+1), length(middle)))
}

// curve draws a line, the number of which chooses its colour and dashes.
func (v *canvas) curve(l line, number int) {
	paint := v.paint(curveColour(number))
	var at []byte
	for _, p := range l.points {
		at = append(at, length(v.placeX(p.X))+","+length(v.placeY(p.Y))+" "...)
	}
	switch n := len(l.points); {
	case n == 0:
	case n == 1:
		fmt.Fprintf(v, `<circle cx="%s" cy="%s" r="2" fill="%s"/>`+"\n", length(v.placeX(l.points[0].X)), length(v.placeY(l.points[0].Y)), paint)
	case l.area:
		fmt.Fprintf(v, `<polygon points="%s%s,%s %s,%s" fill="%s"/>`+"\n", at,
			length(v.placeX(l.points[n-1].X)), length(v.bottom), length(v.placeX(l.points[0].X)), length(v.bottom), paint)
	default:
		fmt.Fprintf(v, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.3" stroke-linejoin="round"%s/>`+"\n", at[:len(at)-1], paint, dashed(number))
	}
}

func dashed(number int) string {
	if d := dashes[number%len(dashes)]; d != "" {
		return ` stroke-dasharray="` + d + `"`
	}
	return ""
}

// legend stands in a row above the plot, where it hides nothing.
func (v *canvas) legend(lines []line) {
	at, middle := v.left, legendHeight/2+2
	for i, l := range lines {
		if l.area || len(l.points) == 0 || at > v.right-60 {
			continue
		}
		fmt.Fprintf(v, `<path d="M%s %sh18" stroke="%s" stroke-width="1.3"%s/>`+"\n", length(at), length(middle), v.paint(curveColour(i)), dashed(i))
		v.write(at+22, middle+textSize/3, textSize, "start", l.name, "")
		at += 22 + textWidth(l.name, textSize) + 14
	}
}

// textWidth estimates how wide a text is in the usual sans-serif fonts.
func textWidth(text string, size float64) float64 {
	em := 0.0
	for _, r := range text {
		switch {
		case strings.ContainsRune("iljtfr.,:;|'()/ I", r):
			em += 0.31
		case r >= '0' && r <= '9':
			em += 0.556
		case strings.ContainsRune("mwMW%→", r):
			em += 0.87
		case r >= 'A' && r <= 'Z' || r > 0x7f:
			em += 0.68
		default:
			em += 0.54
		}
	}
	return em * size
}
