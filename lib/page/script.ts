// What the page does in the browser: refreshes itself, asks when told to, writes times as its reader does.

/** How often the page refreshes itself, milliseconds. */
const refreshMs = 5_000

/**
 * The whole script. The server renders the page anew and the script puts in what differs: there is one
 * rendering, nothing flickers, and focus and selection stay where they are.
 */
export const script = `
const find = selector => document.querySelector(selector)
const icon = find('link'), form = find('form'), lost = find('template')
let timer, asking
function localise(root) {
  for (const time of root.querySelectorAll('time')) {
    const date = new Date(time.dateTime)
    time.title = date.toISOString().slice(0, 19).replace('T', ' ') + ' UTC'
    time.textContent = date.toDateString() === new Date().toDateString() ? date.toLocaleTimeString() : date.toLocaleString()
  }
}
function show(next) {
  for (const each of ['style', 'script'])
    if (next.querySelector(each).textContent !== find(each).textContent) return location.reload()
  localise(next)
  for (const old of document.querySelectorAll('[id]')) {
    const fresh = next.getElementById(old.id)
    if (!old.isEqualNode(fresh)) old.replaceChildren(...fresh.childNodes)
  }
  look(next.title, next.body.dataset.look)
}
function lose() {
  if (document.body.dataset.look === 'lost') return
  const since = lost.content.cloneNode(true)
  since.querySelector('time').dateTime = find('footer time').dateTime
  localise(since)
  find('#verdict').replaceChildren(since)
  find('#since').replaceChildren()
  look('? No answer', 'lost')
}
function look(title, word) {
  document.title = title
  document.body.dataset.look = word
  const image = find('#verdict img').src
  if (icon.href !== image) icon.href = image
}
async function refresh() {
  try {
    const answer = await fetch('', { cache: 'no-store', signal: AbortSignal.timeout(${refreshMs}) })
    if (!answer.ok) throw answer.status
    show(new DOMParser().parseFromString(await answer.text(), 'text/html'))
  } catch {
    lose()
  }
  clearTimeout(timer)
  timer = setTimeout(refresh, ${refreshMs})
}
form.onsubmit = async event => {
  event.preventDefault()
  if (asking) return
  asking = true
  const say = text => { form.querySelector('output').textContent = text }
  say('Asking…')
  try {
    const answer = await fetch(form.action, { cache: 'no-store', signal: AbortSignal.timeout(65000) })
    const { error, status } = await answer.json()
    say(answer.status + ': ' + (error ?? status) + ', ' + answer.headers.get('x-process-time-ms') + ' ms')
  } catch {
    say('no answer')
  }
  await refresh()
  asking = false
}
document.onvisibilitychange = () => document.hidden || refresh()
localise(document)
timer = setTimeout(refresh, ${refreshMs})
`.replace(/\n */g, '\n')
