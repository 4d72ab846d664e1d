package report

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Size of a chart, in points.
const (
	chartWidth   = vg.Length(640)
	chartHeight  = vg.Length(250)
	legendHeight = vg.Length(20)
	textSize     = vg.Length(10)
)

func rgb(hex uint32) color.RGBA {
	return color.RGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 255}
}

// The colours of a chart on paper. In the HTML file each of them stands for a
// CSS variable, so that a dark page has dark charts. None is black: the SVG
// writer leaves black out, and then there would be nothing to replace.
var (
	paper  = rgb(0xFFFFFF)
	ink    = rgb(0x1B1F24)
	rule   = rgb(0xD8DEE4)
	shade  = rgb(0xF0F4F8)
	curves = [latenciesMax]color.RGBA{
		rgb(0x0067B1), rgb(0xC84E00), rgb(0x007A5A), rgb(0x9C2F86), rgb(0x8A6D00), rgb(0x00808F), rgb(0xB3123C), rgb(0x5B5B5B),
	}
)

// Curves differ by their dashes as well as by colour.
var dashes = [4][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}}

// cssColours maps what the SVG writer prints to the page's variables.
var cssColours = func() *strings.Replacer {
	hex := func(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }
	pairs := []string{hex(ink), "var(--ink)", hex(rule), "var(--rule)", hex(shade), "var(--shade)"}
	for i, c := range curves {
		pairs = append(pairs, hex(c), fmt.Sprintf("var(--c%d)", i))
	}
	return strings.NewReplacer(pairs...)
}()

// svgFile is the chart as a file of its own, on white.
func (c *chart) svgFile() []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + c.svg("chart-"+c.name, paper))
}

// svgInline is the chart for a page that defines the colours. The id must be
// unique there.
func (c *chart) svgInline(id string) string { return cssColours.Replace(c.svg(id, nil)) }

// styled matches the font of a text, which the root element sets instead.
var styled = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;?`)

// svg draws the chart. The plot's own text is escaped by the SVG writer.
func (c *chart) svg(id string, background color.Color) string {
	canvas := vgsvg.NewWith(vgsvg.UseWH(chartWidth, chartHeight))
	all := draw.New(canvas)
	if background != nil {
		all.SetColor(background)
		all.Fill(all.Rectangle.Path())
	}
	p := c.plot()
	c.legend(draw.Crop(all, 50, -8, chartHeight-legendHeight, 0))
	p.Draw(draw.Crop(all, 4, -8, 4, -legendHeight-4))
	var drawn bytes.Buffer
	if _, err := canvas.WriteTo(&drawn); err != nil {
		panic(fmt.Sprintf("BUG: write to memory: %v", err))
	}
	root := strings.Index(drawn.String(), "<svg")
	_, inside, found := strings.Cut(drawn.String()[max(root, 0):], ">")
	if root < 0 || !found {
		panic("BUG: the SVG writer wrote no svg element")
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-labelledby="%[5]s" `+
		`font-family="Helvetica, Arial, 'Liberation Sans', sans-serif"><title id="%[5]s">%[6]s</title>`,
		chartWidth.Points(), chartHeight.Points(), chartWidth.Points(), chartHeight.Points(),
		html.EscapeString(id), html.EscapeString(c.title)) + styled.ReplaceAllString(inside, "")
}

func sans(points vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: points}
}

// plot sets the chart up for gonum: axes first widened to something drawable,
// because its scales panic on ranges that are empty or not over zero.
func (c *chart) plot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = c.x.label, c.y.label
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(textSize), sans(textSize-1)
		a.Label.TextStyle.Color, a.Tick.Label.Color = ink, ink
		a.LineStyle.Color, a.Tick.LineStyle.Color = ink, ink
		a.Padding = 0
	}
	c.setScale(&p.X, c.x, func(xy plotter.XY) float64 { return xy.X })
	for _, s := range c.stages { // every chart over time has the same axis
		p.X.Max = max(p.X.Max, s.to)
	}
	c.setScale(&p.Y, c.y, func(xy plotter.XY) float64 { return xy.Y })
	if c.y.scale == linear {
		p.Y.Max *= 1.12 // room for the names of the stages
	}
	p.Add(bands(c.stages))
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = rule, rule
	p.Add(grid)
	for i, l := range c.lines {
		p.Add(curve{l, i})
	}
	return p
}

// setScale ranges an axis over every line.
func (c *chart) setScale(a *plot.Axis, from axis, value func(plotter.XY) float64) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range c.lines {
		for _, xy := range l.points {
			low, high = min(low, value(xy)), max(high, value(xy))
		}
	}
	write := from.write
	if write == nil {
		write = significant
	}
	switch {
	case from.scale == logarithmic:
		if low > high {
			low, high = 1, 1
		}
		a.Min, a.Max = low/1.3, high*1.3
		a.Scale, a.Tick.Marker = plot.LogScale{}, logTicks(write)
	case from.scale == nines:
		a.Min, a.Max = 0, max(high, 1)
		a.Tick.Marker = ninesTicks
	default:
		a.Min, a.Max = 0, max(high, 1e-6)
		if high <= 0 || low > high {
			a.Max = 1
		}
		a.Tick.Marker = plot.TickerFunc(func(low, high float64) []plot.Tick {
			ticks := plot.DefaultTicks{}.Ticks(low, high)
			for i := range ticks {
				if !ticks[i].IsMinor() {
					ticks[i].Label = write(ticks[i].Value)
				}
			}
			return ticks
		})
	}
}

// logTicks labels 1, 2 and 5 of each decade of a narrow range, and the decades
// of a wide one.
func logTicks(write func(float64) string) plot.Ticker {
	return plot.TickerFunc(func(low, high float64) (ticks []plot.Tick) {
		narrow := math.Log10(high/low) < 3
		for decade := math.Floor(math.Log10(low)); decade <= math.Ceil(math.Log10(high)); decade++ {
			for step := 1.0; step < 10; step++ {
				tick := plot.Tick{Value: step * math.Pow(10, decade)}
				if tick.Value < low || tick.Value > high {
					continue
				}
				if step == 1 || narrow && (step == 2 || step == 5) {
					tick.Label = write(tick.Value)
				}
				ticks = append(ticks, tick)
			}
		}
		return ticks
	})
}

// ninesTicks labels 0, 90 %, 99 %, 99.9 % …
var ninesTicks = plot.TickerFunc(func(_, high float64) []plot.Tick {
	ticks := []plot.Tick{{Value: 0, Label: "0"}, {Value: math.Log10(2), Label: "50%"}}
	for n := 1; n <= int(high+1e-9); n++ {
		label := "90%"
		if n == 2 {
			label = "99%"
		} else if n > 2 {
			label = "99." + strings.Repeat("9", n-2) + "%"
		}
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: label})
	}
	return ticks
})

// curve draws a line, the number of which chooses its colour and dashes.
type curve struct {
	line
	number int
}

func (l curve) style() draw.LineStyle {
	return draw.LineStyle{Color: curves[l.number%len(curves)], Width: 1.3, Dashes: dashes[l.number%len(dashes)]}
}

// Plot implements plot.Plotter.
func (l curve) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	at := make([]vg.Point, 0, len(l.points)+2)
	for _, xy := range l.points {
		at = append(at, vg.Point{X: x(xy.X), Y: y(xy.Y)})
	}
	switch {
	case len(at) == 0:
	case len(at) == 1:
		c.DrawGlyph(draw.GlyphStyle{Color: curves[l.number%len(curves)], Radius: 2, Shape: draw.CircleGlyph{}}, at[0])
	case l.area:
		base := y(p.Y.Min)
		at = append(at, vg.Point{X: at[len(at)-1].X, Y: base}, vg.Point{X: at[0].X, Y: base})
		c.FillPolygon(curves[l.number%len(curves)], at)
	default:
		c.StrokeLines(l.style(), at)
	}
}

// legend stands in a row above the plot, where it hides nothing.
func (c *chart) legend(row draw.Canvas) {
	words := draw.TextStyle{Color: ink, Font: sans(textSize), Handler: plot.DefaultTextHandler, YAlign: draw.YCenter}
	at := row.Min.X
	middle := row.Center().Y
	for i, l := range c.lines {
		if l.area || len(l.points) == 0 || at > row.Max.X-60 {
			continue
		}
		row.StrokeLine2(curve{l, i}.style(), at, middle, at+18, middle)
		row.FillText(words, vg.Point{X: at + 22, Y: middle}, l.name)
		at += 22 + words.Width(l.name) + 14
	}
}

// bands marks the stages: measure shaded, each named where its name fits.
type bands []span

// Plot implements plot.Plotter.
func (b bands) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	words := draw.TextStyle{Color: ink, Font: sans(textSize - 2), Handler: plot.DefaultTextHandler, YAlign: draw.YTop}
	for _, s := range b {
		from, to := max(x(s.from), c.Min.X), min(x(s.to), c.Max.X)
		if !(from <= to) { // outside of the axis
			continue
		}
		if s.name == "measure" {
			c.FillPolygon(shade, []vg.Point{{X: from, Y: c.Min.Y}, {X: to, Y: c.Min.Y}, {X: to, Y: c.Max.Y}, {X: from, Y: c.Max.Y}})
		}
		c.StrokeLine2(draw.LineStyle{Color: rule, Width: 1}, from, c.Min.Y, from, c.Max.Y)
		if name := clean(s.name, 20); words.Width(name)+4 < to-from {
			c.FillText(words, vg.Point{X: from + 2, Y: c.Max.Y - 1}, name)
		}
	}
}
