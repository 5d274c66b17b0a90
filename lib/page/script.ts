// Holds the script of the page: it refreshes the page, runs a check on demand, and shows local times.

/** How often the page refreshes itself, milliseconds. */
const refreshMs = 5_000
/** How long the button waits for /health, milliseconds: longer than the largest HEALTH_TIMEOUT_MS. */
const checkTimeoutMs = 65_000

/**
 * The script. The server renders the page again and the script replaces what differs, so there is one
 * rendering, nothing flickers, and focus and selection stay.
 *
 * It is text, not a function whose source is sent: tsx and esbuild insert helpers into functions that a
 * browser does not have, and the types of a browser would make `close`, `stop` and `history` known in every
 * other file. A test formats and lints it as a file of its own.
 */
export const script = `
const find = selector => document.querySelector(selector)
const icon = find('link')
const form = find('form')
const output = find('output')
let timer
let isChecking = false

async function refresh() {
  try {
    const response = await fetch('', { cache: 'no-store', signal: AbortSignal.timeout(${refreshMs}) })
    // The status does not matter here: it is that of the last check.
    update(new DOMParser().parseFromString(await response.text(), 'text/html'))
  } catch {
    showNoAnswer()
  }
  clearTimeout(timer)
  timer = setTimeout(refresh, ${refreshMs})
}

function update(next) {
  // A proxy can answer with a page of its own.
  if (!next.getElementById('verdict')) throw new Error('not our page')
  // Another version of pg-health is running.
  for (const tag of ['style', 'script']) {
    if (next.querySelector(tag).textContent !== find(tag).textContent) return location.reload()
  }
  localizeTimes(next)
  for (const old of document.querySelectorAll('[id]')) {
    const fresh = next.getElementById(old.id)
    if (!old.isEqualNode(fresh)) old.replaceChildren(...fresh.childNodes)
  }
  showIndicator(next.title, next.body.dataset.indicator)
}

function showNoAnswer() {
  if (document.body.dataset.indicator === 'no-answer') return
  const verdict = find('template').content.cloneNode(true)
  verdict.querySelector('time').dateTime = find('footer time').dateTime
  localizeTimes(verdict)
  find('#verdict').replaceChildren(verdict)
  find('#since').replaceChildren()
  showIndicator('? No answer', 'no-answer')
}

function showIndicator(title, indicator) {
  document.title = title
  document.body.dataset.indicator = indicator
  const { src } = find('#verdict img')
  if (icon.href !== src) icon.href = src
}

function localizeTimes(root) {
  const today = new Date().toDateString()
  for (const time of root.querySelectorAll('time')) {
    const date = new Date(time.dateTime)
    const isToday = date.toDateString() === today
    time.title = \`\${date.toISOString().slice(0, 19).replace('T', ' ')} UTC\`
    time.textContent = isToday ? date.toLocaleTimeString() : date.toLocaleString()
  }
}

async function check() {
  output.textContent = 'Checking…'
  try {
    const response = await fetch(form.action, {
      cache: 'no-store',
      signal: AbortSignal.timeout(${checkTimeoutMs}),
    })
    const { error, status } = await response.json()
    const tookMs = response.headers.get('x-process-time-ms')
    output.textContent = \`\${response.status}: \${error ?? status}, \${tookMs} ms\`
  } catch {
    output.textContent = 'no answer'
  }
  await refresh()
}

form.addEventListener('submit', async event => {
  event.preventDefault()
  if (isChecking) return
  isChecking = true
  await check()
  isChecking = false
})
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) refresh()
})
localizeTimes(document)
timer = setTimeout(refresh, ${refreshMs})
`
